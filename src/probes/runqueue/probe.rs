//! Reads the run-queue delays of each CPU.

use kscope_layout::Row;

use crate::kernel::maps::SharedArray;

/// The rows of all CPUs that ever ran anything but their idle task, by number.
pub fn read_cpus(cpus: &SharedArray<Row>) -> Vec<(u32, Row)> {
    (0..cpus.len())
        .filter_map(|cpu| Some((u32::try_from(cpu).ok()?, cpus.get(cpu)?)))
        .filter(|(_, row)| row.sums.total_ns != 0)
        .collect()
}
