"""The main process: its event loop, its children, their logins, and the service's own stream of events."""
