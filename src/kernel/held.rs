//! The programs, wherever they are held: in this process (tests, benchmarks, `doctor`) or in the helper that alone may.
//!
//! Invariant: both do the same things, and no others.

use std::io;
use std::os::fd::OwnedFd;

use aya::programs::ProgramError;
use aya::sys::{Stats, enable_stats};

use super::advice::LoadError;
use super::loader::Standing;
use super::local::Local;
use super::programs::Insight;
use crate::privileged::remote::Remote;
use crate::privileged::wire::Request;

/// What holds the programs.
#[derive(Debug)]
pub enum Held {
    /// This process.
    Here(Box<Local>),
    /// The helper.
    There(Remote),
}

impl Held {
    /// Attaches the programs of an insight that are not attached.
    pub fn attach(&mut self, insight: Insight) -> Result<(), ProgramError> {
        match self {
            Self::Here(local) => local.attached().attach(insight),
            Self::There(remote) => remote.done(Request::Attach(insight)).map_err(ProgramError::IOError),
        }
    }

    /// Detaches the programs of an insight. A program that is at work on another CPU may finish after this returned.
    pub fn detach(&mut self, insight: Insight) -> Result<(), ProgramError> {
        match self {
            Self::Here(local) => local.attached().detach(insight),
            Self::There(remote) => remote.done(Request::Detach(insight)).map_err(ProgramError::IOError),
        }
    }

    /// Makes entries for all threads that have none, and says of those whose state is unknown what they are doing.
    pub fn find_threads(&mut self) -> Result<(), ProgramError> {
        match self {
            Self::Here(local) => local.attached().find_threads(),
            Self::There(remote) => remote.done(Request::FindThreads).map_err(ProgramError::IOError),
        }
    }

    /// Attaches the programs of an insight that is measured on demand, and loads those that were not asked for before.
    pub fn open(&mut self, insight: Insight) -> Result<Standing, LoadError> {
        match self {
            Self::Here(local) => local.open(insight),
            Self::There(remote) => Ok(remote.standing(Request::Open(insight))?),
        }
    }

    /// Detaches the programs of an insight that is measured on demand.
    pub fn close(&mut self, insight: Insight) -> Result<Standing, ProgramError> {
        match self {
            Self::Here(local) => local.close(insight),
            Self::There(remote) => remote.standing(Request::Close(insight)).map_err(ProgramError::IOError),
        }
    }

    /// Has the kernel count the runs of programs.
    pub fn counter(&self) -> Counter {
        match self {
            Self::Here(_) => Counter::Here,
            Self::There(remote) => Counter::There(remote.clone()),
        }
    }

    /// The helper, if it is that.
    pub fn remote(&self) -> Option<Remote> {
        match self {
            Self::Here(_) => None,
            Self::There(remote) => Some(remote.clone()),
        }
    }
}

/// Who can have the runs of programs counted.
#[derive(Clone, Debug)]
pub enum Counter {
    /// This process.
    Here,
    /// The helper.
    There(Remote),
}

/// Runs are counted as long as this lives.
#[derive(Debug)]
pub enum On {
    /// By a descriptor of this process.
    Here {
        /// The descriptor.
        _fd: OwnedFd,
    },
    /// By one of the helper's.
    There(Remote),
}

impl Counter {
    /// Has runs counted.
    pub fn switch_on(&self) -> io::Result<On> {
        match self {
            Self::Here => Ok(On::Here { _fd: enable_stats(Stats::RunTime).map_err(|error| error.io_error)? }),
            Self::There(remote) => remote.done(Request::CountRuns).map(|()| On::There(remote.clone())),
        }
    }
}

impl Drop for On {
    fn drop(&mut self) {
        if let Self::There(remote) = self {
            // If the helper has ended, so has the counting.
            let _ = remote.done(Request::CountRunsNoMore);
        }
    }
}
