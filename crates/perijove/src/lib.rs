//! The command: reads the configuration, builds the site, runs it.
