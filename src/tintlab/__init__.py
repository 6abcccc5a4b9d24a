"""tintlab: from a folder of colour photographs to a judged, tracked photo-colorization model."""
