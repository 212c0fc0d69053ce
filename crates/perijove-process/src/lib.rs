//! Child processes of perijove: start, watch, stop, restart, tie down.
