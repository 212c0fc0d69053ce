"""What runs inside a worker process: finds the application, and serves it to the gateway."""
