//! People and their notebook servers: who, where, how long.
