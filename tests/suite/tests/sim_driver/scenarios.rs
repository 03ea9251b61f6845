//! A few stories of users, each told twice.
