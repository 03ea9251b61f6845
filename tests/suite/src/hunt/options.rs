//! The command line of the hunt.

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Hunt these mistakes, or all of them if there is none.
    Hunt(Vec<String>),
    /// Name all mistakes.
    List,
    /// Hunt one mistake, or none, in this process, and print what was found.
    Alone(Option<String>),
    /// Run one seed with one mistake, or with `none`, and print its story.
    Show(String, u64),
}

/// The command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// What is to be done.
    pub task: Task,
    /// The last seed.
    pub seeds: u64,
    /// Seeds that are left out.
    pub without: Vec<u64>,
}

impl Arguments {
    /// How to call the program.
    pub const USAGE: &str = "planted [--bug NAME]... [--seeds N] | --list | --bug NAME --show SEED";

    /// Reads the arguments, without the program's name.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(arguments: impl IntoIterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = arguments.into_iter();
        let (mut bugs, mut seeds, mut without) = (vec![], 1000, vec![]);
        let (mut list, mut alone, mut show) = (false, None, None);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} takes a value"));
            match argument.as_str() {
                "--bug" => bugs.push(value()?),
                "--seeds" => seeds = number(&value()?)?,
                "--show" => show = Some(number(&value()?)?),
                "--without" => without.push(number(&value()?)?),
                "--list" => list = true,
                "--alone" => alone = Some(value()?),
                other => return Err(format!("unknown argument {other}; {}", Self::USAGE)),
            }
        }
        let task = match (list, alone, show, bugs.as_slice()) {
            (true, ..) => Task::List,
            (_, Some(name), ..) => Task::Alone(Some(name).filter(|name| name != "none")),
            (_, _, Some(seed), [bug]) => Task::Show(bug.clone(), seed),
            (_, _, Some(_), _) => return Err("--show takes one --bug".to_owned()),
            _ => Task::Hunt(bugs),
        };
        Ok(Arguments { task, seeds, without })
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, String> {
        Arguments::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_form_of_the_command_line() {
        let task = |line| read(line).map(|it| it.task);
        assert_eq!(read("").map(|o| (o.task, o.seeds)), Ok((Task::Hunt(vec![]), 1000)));
        assert_eq!(task("--bug A --bug B"), Ok(Task::Hunt(vec!["A".into(), "B".into()])));
        assert_eq!(read("--seeds 7").map(|it| it.seeds), Ok(7));
        assert_eq!(task("--list"), Ok(Task::List));
        assert_eq!(read("--without 3 --without 4").map(|it| it.without), Ok(vec![3, 4]));
        assert_eq!(task("--alone A"), Ok(Task::Alone(Some("A".into()))));
        assert_eq!(task("--alone none"), Ok(Task::Alone(None)));
        assert_eq!(task("--bug A --show 3"), Ok(Task::Show("A".into(), 3)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["--seeds", "--seeds x", "--show 3", "--bug A --bug B --show 3", "seeds"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
