//! The extension module inside a Python worker of perijove.
