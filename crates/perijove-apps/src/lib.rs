//! Python applications of perijove: which workers to run, when to replace them.
