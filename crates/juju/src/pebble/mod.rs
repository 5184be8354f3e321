//! The client of Pebble, the service manager in each workload container: plain HTTP over its Unix socket.
