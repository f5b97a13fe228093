"""Reports as one HTML file each: no network, readable without scripts, everything escaped."""
