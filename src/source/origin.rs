//! Where an interval's samples come from: programs in the kernel, or procfs where these could not be loaded.
//!
//! What only programs can do (windows, sampling, counting their runs) is nothing to do for procfs.

use std::io;

use super::live::Live;
use super::procfs::Procfs;
use super::{Source, When};
use crate::core::budget::Plan;
use crate::core::interests::Interests;
use crate::kernel::advice::LoadError;
use crate::kernel::loader::Loaded;
use crate::model::Sample;
use crate::privileged::Services;

/// What procfs is read with where programs could not be loaded.
#[derive(Debug, Default)]
pub struct Otherwise<'a> {
    /// Of these processes alone, if there is any.
    pub only: &'a [u32],
    /// Who looks for owners of sockets and for names.
    pub services: Services,
}

/// One of the two.
#[derive(Debug)]
pub enum Origin {
    /// Programs in the kernel.
    Programs(Box<Live>),
    /// procfs alone.
    Procfs(Box<Procfs>),
}

impl Origin {
    /// The best there is: the programs, or, where they could not be loaded, procfs.
    pub fn best(loaded: Result<Loaded, LoadError>, otherwise: &Otherwise<'_>, runs: When) -> Self {
        match loaded {
            Ok(kernel) => Self::Programs(Box::new(Live::new(kernel, runs))),
            Err(error) => {
                tracing::warn!("only procfs is read: {}", crate::kernel::advice::chain(&error));
                Self::Procfs(Box::new(Procfs::instead_of(&error, otherwise)))
            }
        }
    }

    /// One line on what is missing, if anything is.
    pub fn notice(&self) -> Option<String> {
        match self {
            Self::Programs(_) => None,
            Self::Procfs(procfs) => procfs.notice(),
        }
    }

    /// Can a budget be kept? Without programs there is nothing to count less of.
    pub const fn can_sample(&self) -> bool {
        matches!(self, Self::Programs(_))
    }

    const fn live(&mut self) -> Option<&mut Live> {
        match self {
            Self::Programs(live) => Some(live),
            Self::Procfs(_) => None,
        }
    }

    /// Measures from now on what is looked at.
    pub fn look(&mut self, interests: Interests) -> io::Result<()> {
        match self {
            Self::Programs(live) => live.look(interests),
            Self::Procfs(procfs) => procfs.look(interests),
        }
    }

    /// See [`Live::hurry`].
    pub const fn hurry(&mut self) {
        if let Self::Programs(live) = self {
            live.hurry();
        }
    }

    /// See [`Live::catch_up`].
    pub fn catch_up(&mut self) {
        self.live().into_iter().for_each(Live::catch_up);
    }

    /// See [`Live::open`].
    pub fn open(&mut self, insights: [bool; 3]) -> io::Result<()> {
        self.live().map_or(Ok(()), |live| live.open(insights).map_err(io::Error::other))
    }

    /// See [`Live::close`].
    pub fn close(&mut self, insights: [bool; 3]) -> io::Result<()> {
        self.live().map_or(Ok(()), |live| live.close(insights).map_err(io::Error::other))
    }

    /// See [`Live::count_one_in`].
    pub fn count_one_in(&mut self, one_in: [u32; 3]) {
        self.live().into_iter().for_each(|live| live.count_one_in(one_in));
    }

    /// See [`Live::stay_open`].
    pub fn stay_open(&mut self) {
        self.live().into_iter().for_each(Live::stay_open);
    }

    /// See [`Live::count_runs_when`].
    pub fn count_runs_when(&mut self, when: When) {
        self.live().into_iter().for_each(|live| live.count_runs_when(when));
    }

    /// See [`Live::count_runs`].
    pub fn count_runs(&mut self, plan: &Plan, wait: impl FnOnce()) {
        match self {
            Self::Programs(live) => live.count_runs(plan, wait),
            Self::Procfs(_) => wait(),
        }
    }
}

impl Source for Origin {
    fn sample(&mut self) -> io::Result<Sample> {
        match self {
            Self::Programs(live) => live.sample(),
            Self::Procfs(procfs) => procfs.sample(),
        }
    }
}
