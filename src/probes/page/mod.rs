//! Everything about one process: its threads one by one, and what its cgroup allows it. Read only while somebody looks at it.

pub mod home;
pub mod probe;
pub mod quota;
pub mod stats;
