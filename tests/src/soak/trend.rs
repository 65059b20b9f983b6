//! Does a series grow? Its slope, with how sure that is.
//!
//! Samples a second apart are not independent of each other: what is high now is high in a second, too. To a plain line
//! through all of them an hour would be 3,600 witnesses, each of which repeats the one before, and almost any series would
//! "grow". So samples are averaged over blocks that are longer than what makes them alike (a stream's life, a fault and the
//! recovery from it), and the line goes through the blocks. What is still alike from block to block is measured, and there
//! count so many fewer of them: Santer et al., J. Geophys. Res. 105 (2000), 7337, "AdjSE + AdjDF". Docs: docs/evidence/soak.md.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// Fewer blocks tell nothing: how alike they are could not even be estimated.
const LEAST: usize = 15;

/// The slope of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// What is added in a unit of time.
    pub slope: f64,
    /// Half of the 95 % confidence interval.
    pub margin: f64,
    /// How often chance alone gives such a slope, or a steeper one, up or down.
    pub chance: f64,
}

impl Trend {
    /// The trend of samples (time, value), in the order of time, by blocks of that time. `None` where there are too few.
    pub fn of(samples: &[(f64, f64)], block: f64) -> Option<Self> {
        let blocks = averages(samples, block);
        let n = blocks.len() as f64;
        if blocks.len() < LEAST {
            return None;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| blocks.iter().map(of).sum::<f64>() / n;
        let (mid_time, mid_value) = (mean(|it| it.0), mean(|it| it.1));
        let spread: f64 = blocks.iter().map(|it| (it.0 - mid_time).powi(2)).sum();
        let slope = blocks
            .iter()
            .map(|it| (it.0 - mid_time) * (it.1 - mid_value))
            .sum::<f64>()
            / spread;
        let residuals: Vec<f64> = blocks
            .iter()
            .map(|it| it.1 - mid_value - slope * (it.0 - mid_time))
            .collect();
        let squares: f64 = residuals.iter().map(|it| it * it).sum();
        // Rounding errors are no noise.
        if squares <= n * (1e-9 * mid_value.abs().max(1.0)).powi(2) {
            let chance = if slope.abs() * spread.sqrt() <= 1e-9 * mid_value.abs().max(1.0) {
                1.0
            } else {
                0.0
            };
            return Some(Self {
                slope,
                margin: 0.0,
                chance,
            });
        }
        let independent = n / inflation(&residuals, squares);
        let freedom = (independent - 2.0).max(1.0);
        let error = (squares / freedom / spread).sqrt();
        let student = StudentsT::new(0.0, 1.0, freedom).expect("a positive number of degrees of freedom");
        Some(Self {
            slope,
            margin: student.inverse_cdf(0.975) * error,
            chance: 2.0 * student.sf((slope / error).abs()),
        })
    }
}

/// How many blocks stand for one that is independent: (1 + r) / (1 − r), where r is the correlation of a block with the next.
fn inflation(residuals: &[f64], squares: f64) -> f64 {
    let products: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let found = products / squares;
    // Around a line that was fitted to them, residuals look less alike than they are: by (2 + 4r) / n on average.
    let n = residuals.len() as f64;
    let r = ((found + 2.0 / n) / (1.0 - 4.0 / n)).clamp(0.0, 0.95);
    (1.0 + r) / (1.0 - r)
}

/// The means of whole blocks. One that has less than half of its samples, at the end or where the program was away, is left
/// out.
fn averages(samples: &[(f64, f64)], block: f64) -> Vec<(f64, f64)> {
    let Some(&(start, _)) = samples.first() else {
        return Vec::new();
    };
    let number = |time: f64| ((time - start) / block) as usize;
    let blocks: Vec<_> = samples.chunk_by(|a, b| number(a.0) == number(b.0)).collect();
    let most = blocks.iter().map(|block| block.len()).max().unwrap_or(0);
    blocks
        .into_iter()
        .filter(|block| 2 * block.len() > most)
        .map(|block| {
            let mean = |of: fn(&(f64, f64)) -> f64| block.iter().map(of).sum::<f64>() / block.len() as f64;
            (mean(|it| it.0), mean(|it| it.1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    /// A descriptor count as the soak sees it: whole numbers around 30 that wander, and stay for some ten seconds where they
    /// are; `memory` is the share of a sample that the next one keeps.
    fn descriptors(minutes: u32, leak: f64, memory: f64, random: &mut Rng) -> Vec<(f64, f64)> {
        let mut noise = 0.0;
        (0..minutes * 60)
            .map(|second| {
                let push: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
                noise = memory * noise + (1.0 - memory * memory).sqrt() * push;
                let minute = f64::from(second) / 60.0;
                // Leaked are whole descriptors, one after the other.
                (minute, (30.0 + 3.0 * noise).round() + (leak * minute).floor())
            })
            .collect()
    }

    fn trend(samples: &[(f64, f64)]) -> Trend {
        Trend::of(samples, 1.0).expect("enough blocks")
    }

    #[test]
    fn a_leak_of_a_third_of_a_descriptor_a_minute_is_seen() {
        for seed in 0..200 {
            let mut random = Rng::with_seed(seed);
            let found = trend(&descriptors(60, 0.3, 0.9, &mut random));
            assert!(found.chance < 0.001, "seed {seed}: {found:?}");
            assert!((found.slope - 0.3).abs() < 0.1, "seed {seed}: {found:?}");
        }
    }

    #[test]
    fn noise_alone_is_flagged_no_more_often_than_it_says() {
        const SEEDS: u32 = 1_000;
        for memory in [0.0, 0.9, 0.97, 0.99] {
            let mut random = Rng::with_seed(7);
            let mut flagged = 0;
            for _ in 0..SEEDS {
                let found = trend(&descriptors(20, 0.0, memory, &mut random));
                assert_eq!(found.chance < 0.05, found.slope.abs() > found.margin);
                flagged += u32::from(found.chance < 0.05);
            }
            let share = f64::from(flagged) / f64::from(SEEDS);
            println!("{memory}: {share}");
            assert!(share < 0.07, "memory {memory}: {share} for 0.05");
        }
    }

    #[test]
    fn what_stands_still_does_not_grow_and_a_clean_line_does() {
        let still: Vec<_> = (0..1_200).map(|second| (f64::from(second) / 60.0, 4.1)).collect();
        let found = trend(&still);
        assert!(found.chance == 1.0 && found.slope.abs() < 1e-9, "{found:?}");
        let line: Vec<_> = still.iter().map(|(time, _)| (*time, 2.0 * time)).collect();
        let found = trend(&line);
        assert!(found.chance == 0.0 && (found.slope - 2.0).abs() < 1e-6, "{found:?}");
        assert_eq!(Trend::of(&still[..800], 1.0), None);
    }
}
