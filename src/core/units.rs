//! Numbers for people: three significant digits and a unit.
