//! Distances, tests, histograms and sketches: slices in, numbers out.
