//! What is measured and what is shown: a [`Sample`] holds cumulative readings, a [`Snapshot`] what happened between two.
//!
//! Not here: reading (that is `source`) and drawing (that is `ui`). Samples are recorded, snapshots are shown, and neither
//! is changed once somebody else holds it (a report appends snapshots while it makes them).

mod blame;
mod disk;
mod records;
mod sample;
mod sampling;
mod snapshot;

pub use blame::{BlameSample, BlameStats, Names};
pub use disk::{DeviceSample, DiskSample, InFlightRequests};
pub use records::{Record, Records};
pub use sample::{Basis, Host, Ident, Lost, Own, ProbeState, ProbeStatus, ProcessSample, Qualities, Sample};
pub use sampling::{Sampling, Share, joined};
pub use snapshot::{ProcessStats, Snapshot};
