//! The floor: programs that do nothing, to measure what a hook costs whoever uses it (`benches/cost`).
//!
//! They are loaded once for each hook that kscope's own programs use. Not a part of kscope: nothing but the benchmark
//! carries them.
#![no_std]
#![no_main]

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_ktime_get_ns;

/// Nothing at all.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/empty")]
pub extern "C" fn empty(_: *mut c_void) -> i32 {
    0
}

/// Reads the clock once, as whoever measures a duration must.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/clock")]
pub extern "C" fn clock(_: *mut c_void) -> i32 {
    // SAFETY: no preconditions.
    unsafe { bpf_ktime_get_ns() };
    0
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
