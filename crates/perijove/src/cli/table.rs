//! Tables for people: columns as wide as what is in them.

/// Lays rows out below a heading. The last column is not padded.
pub(super) fn lay_out<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heading.map(width);
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let mut text = line(&heading.map(str::to_owned), &widths);
    for row in rows {
        text.push_str(&line(row, &widths));
    }
    text
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = |(cell, widest): (&String, &usize)| {
        let space = widest.saturating_sub(width(cell));
        cell.clone() + &" ".repeat(space)
    };
    let cells: Vec<String> = cells.iter().zip(widths).map(padded).collect();
    cells.join("  ").trim_end().to_owned() + "\n"
}

/// Columns on a terminal: the wide letters of East Asia take two.
fn width(text: &str) -> usize {
    let is_wide = |c: char| matches!(c as u32, 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0x1f300..=0x1faff | 0x20000..=0x3fffd);
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

/// A length of time for people, in its largest unit.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::{age, lay_out};

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["ada".to_owned(), "ready".to_owned()], ["秀樹".to_owned(), String::new()]];
        assert_eq!(lay_out(["USER", "STATE"], &rows), "USER  STATE\nada   ready\n秀樹\n");
    }

    #[test]
    fn ages_are_told_in_one_unit() {
        let check = |seconds, expected: &str| assert_eq!(age(seconds), expected);
        check(0, "0 s");
        check(119, "119 s");
        check(120, "2 min");
        check(7200, "2 h");
        check(172_800, "2 d");
    }
}
