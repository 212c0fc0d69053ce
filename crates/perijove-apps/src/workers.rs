//! How many processes run an application when nobody says.

use std::fmt;

use crate::{Driver, system};

/// What a process of an ordinary application comes to need.
const EACH: u64 = 128 << 20;

/// How many, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    pub number: usize,
    pub why: Why,
}

/// What a number of workers comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Written,
    /// One for each processor.
    Processors,
    /// Two for each processor and one more: a process carries few requests at once.
    TwiceProcessors,
    /// One runs processes of its own.
    One,
    /// There is memory for no more: bytes.
    Memory(u64),
}

impl Workers {
    pub fn written(number: usize) -> Self {
        Self { number, why: Why::Written }
    }

    /// What is usual for a driver. `is_cartridge`: a platform asked for the driver as `OpenShift`
    /// did, where every server had two for each processor and one more.
    pub fn usual(driver: &Driver, processors: usize, is_cartridge: bool) -> Self {
        let (number, why) = match driver {
            Driver::Command(_) => return Self { number: 1, why: Why::One },
            Driver::Native | Driver::Uvicorn if !is_cartridge => (processors, Why::Processors),
            _ => (processors * 2 + 1, Why::TwiceProcessors),
        };
        Self { number: number.max(1), why }.bounded(system::memory())
    }

    /// As many as this much memory holds, at least one; `None`: nobody knows.
    fn bounded(self, memory: Option<u64>) -> Self {
        let Some(memory) = memory else { return self };
        let most = usize::try_from(memory / EACH).unwrap_or(usize::MAX).max(1);
        if self.number <= most { self } else { Self { number: most, why: Why::Memory(memory) } }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        match self.why {
            Why::Written => Ok(()),
            Why::Processors => f.write_str(", one for each processor"),
            Why::TwiceProcessors => f.write_str(", two for each processor and one more"),
            Why::One => f.write_str(", which may run more processes of its own"),
            Why::Memory(bytes) => write!(
                f,
                ", as many as {} MiB of memory hold at {} MiB each",
                bytes >> 20,
                EACH >> 20
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_processors_and_memory_allow() {
        let check = |number, memory: Option<u64>, expected: &str| {
            let workers = Workers { number, why: Why::Processors };
            assert_eq!(workers.bounded(memory.map(|mib| mib << 20)).to_string(), expected);
        };
        check(4, None, "4, one for each processor");
        check(4, Some(512), "4, one for each processor");
        check(4, Some(511), "3, as many as 511 MiB of memory hold at 128 MiB each");
        check(4, Some(1), "1, as many as 1 MiB of memory hold at 128 MiB each");
    }

    #[test]
    fn drivers_have_their_usual_numbers() {
        let check = |driver: &Driver, is_cartridge, expected| {
            let workers = Workers::usual(driver, 1, is_cartridge);
            assert_eq!(workers.number, expected, "{driver}");
        };
        check(&Driver::Native, false, 1);
        check(&Driver::Native, true, 3);
        check(&Driver::Uvicorn, false, 1);
        check(&Driver::Gunicorn, false, 3);
        check(&Driver::Command(crate::CommandLine::of_text("x").unwrap()), true, 1);
    }
}
