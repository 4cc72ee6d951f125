//! Where samples come from. Live is the running kernel through kscope's programs, procfs what anybody may read; whatever else
//! there may be (a recording), it yields the same.

mod host;
mod interval;
mod leaving;
mod live;
mod missed;
mod origin;
pub mod procfs;
pub(crate) mod procs;
mod watch;

use std::io;

pub use crate::kernel::run_stats::When;
pub use host::{boottime_ns, monotonic_ns, procfs_trouble};
pub use interval::{Intervals, Pace};
pub use live::Live;
pub use origin::Otherwise;

use crate::model::Sample;

/// Something that yields samples.
pub trait Source {
    /// Reads everything once, as of now.
    fn sample(&mut self) -> io::Result<Sample>;
}
