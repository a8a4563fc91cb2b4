//! The printed table: columns wide enough for their longest cell, and verdicts below.

/// Rows of cells under a head.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The first two columns stand left, figures right, and a last, wordy one left again.
    pub(crate) fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for (at, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| {
                    if column < 2 || column + 1 == columns {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                })
                .collect();
            println!("  {}", cells.join("  ").trim_end());
            if at == 0 {
                println!("  {}", "-".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1)));
            }
        }
    }
}

/// Figures with as many places as they deserve.
pub(crate) fn figure(value: f64) -> String {
    match value {
        v if v.is_nan() => "-".to_owned(),
        v if v.abs() >= 100.0 => format!("{v:.0}"),
        v if v.abs() >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// Prints whether a target is met, and remembers it.
#[derive(Default)]
pub(crate) struct Verdicts {
    missed: Vec<String>,
    unknown: usize,
    met: usize,
}

impl Verdicts {
    /// `met` is `None` where what is compared with was not measured.
    pub(crate) fn say(&mut self, met: Option<bool>, words: String) {
        let verdict = match met {
            Some(true) => {
                self.met += 1;
                "met    "
            }
            Some(false) => {
                self.missed.push(words.clone());
                "MISSED "
            }
            None => {
                self.unknown += 1;
                "unknown"
            }
        };
        println!("  {verdict} {words}");
    }

    pub(crate) fn summary(&self) {
        println!("\n{} targets met, {} missed, {} not judged", self.met, self.missed.len(), self.unknown);
        for words in &self.missed {
            println!("  missed: {words}");
        }
    }
}
