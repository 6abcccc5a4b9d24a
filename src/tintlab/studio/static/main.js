// The page: its parts, and the keys that reach them.

import { byId } from "./dom.js";
import { startFilms } from "./films.js";
import { endPlacing, isPlacing, moveCross, placeHint, startHints, startPlacing } from "./hints.js";
import { startModels } from "./models.js";
import { startPhotos } from "./photos.js";
import { startPicker } from "./picker.js";
import { startPicture } from "./picture.js";
import { startReference } from "./reference.js";
import { startSaving } from "./saving.js";
import { fit, panBy, startStage, zoomBy } from "./stage.js";
import { state } from "./state.js";
import { startSteer } from "./steer.js";
import { startVariants } from "./variants.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const PAN_PIXELS = 40;

function stageKey(event) {
  if (event.target !== byId("stage") || event.ctrlKey || event.metaKey) return;
  const [x, y] = ARROWS[event.key] ?? [];
  if (x !== undefined && isPlacing()) moveCross((event.shiftKey ? 0.01 : 0.03) * x, (event.shiftKey ? 0.01 : 0.03) * y);
  else if (x !== undefined) panBy(-PAN_PIXELS * x, -PAN_PIXELS * y);
  else if (event.key === "+" || event.key === "=") zoomBy(1.25);
  else if (event.key === "-") zoomBy(0.8);
  else if (event.key === "0") fit();
  else if (event.key === "h" || event.key === "H") startPlacing();
  else if (event.key === "Enter" && isPlacing()) endPlacing(true);
  else if (event.key === "Escape" && isPlacing()) endPlacing(false);
  else return;
  event.preventDefault();
}

function undoKey(event) {
  if (!(event.ctrlKey || event.metaKey) || byId("picker").open) return;
  const key = event.key.toLowerCase();
  if (key === "z" && !event.shiftKey) state.undo();
  else if (key === "y" || key === "z") state.redo();
  else return;
  event.preventDefault();
}

startPhotos();
startStage(placeHint);
startPicture();
startSteer();
startVariants();
startPicker();
startHints();
startReference();
startSaving();
startFilms();
startModels();
byId("stage").addEventListener("keydown", stageKey);
document.addEventListener("keydown", undoKey);
