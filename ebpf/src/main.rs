//! The programs kscope runs in the kernel, one file a probe.
//!
//! They count and never report: every map holds cumulative counters, user space subtracts. No offset of a kernel
//! structure is compiled in (see `globals.rs`). Each program touches its thread's entry once and returns.
//!
//! Invariant: no program can fail loudly. What finds no room is counted in `LOST`.
#![no_std]
#![no_main]
// For `atomic_xadd`, which compiles to `lock *(u64 *)(r) += n` and loads on every kernel with tp_btf.
#![feature(core_intrinsics)]
// For an empty `asm!` as a compiler barrier: LLVM has no fence for this target.
#![feature(asm_experimental_arch)]
#![expect(internal_features, reason = "core::sync::atomic has no fetch_add on the bpf target")]

mod blame;
mod cause;
mod connections;
mod cut;
mod denied;
mod disk;
mod errors;
mod exemplars;
mod found;
mod globals;
mod inet;
mod interrupted;
mod latency;
mod lives;
mod maps;
mod network;
mod process;
mod runqueue;
mod syscalls;
mod takeover;
mod task;
mod thread;

/// GPL-only helpers are used (`bpf_get_current_task_btf`), so the programs are under both.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses an object in which this can be reached.
    loop {}
}
