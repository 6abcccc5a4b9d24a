"""What a trained generator knows and leaves open: its noise, directions in it, its units, its use of contrast."""
