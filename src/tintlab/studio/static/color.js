// sRGB (IEC 61966-2-1) <-> CIE L*a*b* (D65, 2°), with the server's constants, for the picker and the eyedropper.

const TO_WHITE = [
  [0.412453 / 0.95047, 0.35758 / 0.95047, 0.180423 / 0.95047],
  [0.212671, 0.71516, 0.072169],
  [0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883],
];
const FROM_XYZ = [
  [3.24048134, -1.53715152, -0.49853633],
  [-0.96925495, 1.87599, 0.04155593],
  [0.05564664, -0.20404134, 1.05731107],
];
const WHITE = [0.95047, 1, 1.08883];

const linear = (value) => (value > 0.04045 ? ((value + 0.055) / 1.055) ** 2.4 : value / 12.92);
const companded = (value) => (value > 0.0031308 ? 1.055 * value ** (1 / 2.4) - 0.055 : 12.92 * value);
const cubeRoot = (value) => (value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116);
const cube = (value) => (value > 0.2068966 ? value ** 3 : (value - 16 / 116) / 7.787);

/** L*, a*, b* of red, green and blue from 0 to 255. */
export function labOfRgb(rgb) {
  const line = rgb.map((value) => linear(value / 255));
  const [x, y, z] = TO_WHITE.map((row) => cubeRoot(row[0] * line[0] + row[1] * line[1] + row[2] * line[2]));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/** Red, green and blue from 0 to 255 of L*, a*, b*; null where sRGB can't show it. */
export function rgbOfLab(l, a, b) {
  const fy = (l + 16) / 116;
  const xyz = [cube(fy + a / 500) * WHITE[0], cube(fy), cube(fy - b / 200) * WHITE[2]];
  const rgb = FROM_XYZ.map((row) => companded(row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2]));
  if (rgb.some((value) => value < -0.002 || value > 1.002)) return null;
  return rgb.map((value) => Math.round(255 * Math.min(1, Math.max(0, value))));
}

/** As `rgbOfLab`; a colour that can't be shown loses chroma until it can. */
export function shownRgb(l, a, b) {
  for (let share = 1; share > 0; share -= 0.02) {
    const rgb = rgbOfLab(l, a * share, b * share);
    if (rgb) return rgb;
  }
  return rgbOfLab(l, 0, 0) ?? [127, 127, 127];
}

export const cssOf = (rgb) => `rgb(${rgb.join(" ")})`;

const HUES = ["pink", "red", "orange", "yellow", "green", "green", "turquoise", "blue", "blue", "blue", "blue", "purple"];

/** A word for a colour, for those who hear it. */
export function nameOf(l, a, b) {
  const chroma = Math.hypot(a, b);
  if (chroma < 5) return "grey";
  const hue = HUES[Math.floor(((Math.atan2(b, a) * 180 / Math.PI + 375) % 360) / 30)];
  const named = hue === "orange" && l < 55 ? "brown" : hue;
  const depth = l < 35 ? "dark " : l > 75 ? "light " : "";
  return `${depth}${chroma < 18 ? "greyish " : ""}${named}`;
}
