//! Runs the command line and reports failure.

fn main() {}
