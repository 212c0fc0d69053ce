"""How the application is put under each server that is not the native worker."""
