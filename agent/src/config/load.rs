//! Where a configuration comes from: the file, then `LOG_CAPTURER_...` variables, then `--set`.
//! What none of them says of the engine, the docker client's own variables may say.

use std::path::{Path, PathBuf};

use super::overrides::{Override, first_line, variables};
use super::place::{Invalid, Place, Problem, Problems};
use super::{Config, environment, locate};

/// Everything that has a say in the configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
    /// `key=value`, the key with dots, the value in YAML.
    pub overrides: Vec<String>,
}

impl Sources {
    /// Reads everything and checks it. `prepare` finds out what only the user of the values can
    /// know, and names the key whose value is of no use.
    pub fn load<T>(
        &self,
        prepare: impl FnOnce(&Config) -> Result<T, (&'static str, String)>,
    ) -> Result<(Config, T), Invalid> {
        let gathered = self.gather()?;
        match prepare(&gathered.config) {
            Ok(prepared) => Ok((gathered.config, prepared)),
            Err((key, message)) => Err(Invalid::Unusable(vec![Problem {
                place: gathered.place(key),
                key: key.to_owned(),
                message,
            }])),
        }
    }

    /// Reads everything, and checks what the sections know of themselves.
    pub(super) fn gather(&self) -> Result<Gathered<'_>, Invalid> {
        let text = match &self.file {
            Some(path) => Some((path.as_path(), read(path)?)),
            None => None,
        };
        let mut config = match &text {
            Some((path, text)) => parse(path, text)?,
            None => Config::default(),
        };
        let mut overrides = variables();
        for text in &self.overrides {
            overrides.push(Override::from_argument(text)?);
        }
        for one in &overrides {
            config = one.apply(&config)?;
        }
        overrides.extend(environment::complete(&mut config.docker, |name| {
            std::env::var(name).ok()
        }));
        let gathered = Gathered {
            config,
            overrides,
            text,
        };
        let mut problems = Problems::default();
        gathered.config.check(&mut problems);
        let problems = problems.located(|key| gathered.place(key));
        if !problems.is_empty() {
            return Err(Invalid::Unusable(problems));
        }
        Ok(gathered)
    }
}

/// A configuration, with all that had a say in it.
pub(super) struct Gathered<'a> {
    pub config: Config,
    overrides: Vec<Override>,
    text: Option<(&'a Path, String)>,
}

impl Gathered<'_> {
    /// Where the value of a key was said.
    pub(super) fn place(&self, key: &str) -> Place {
        // The last one said counts.
        if let Some(one) = self.overrides.iter().rev().find(|one| one.covers(key)) {
            return Place::Override(one.said_as.clone());
        }
        self.text
            .as_ref()
            .and_then(|(path, text)| {
                let (line, column) = locate::key(text, key)?;
                Some(Place::File {
                    path: path.to_path_buf(),
                    line,
                    column,
                })
            })
            .unwrap_or(Place::Default)
    }
}

fn read(path: &Path) -> Result<String, Invalid> {
    std::fs::read_to_string(path).map_err(|source| Invalid::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn parse(path: &Path, text: &str) -> Result<Config, Invalid> {
    // A file of comments only is no document, and changes nothing.
    let document: Option<Config> = serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let message = first_line(&error.without_snippet().to_string());
        Invalid::Malformed {
            place: Place::File {
                path: path.to_owned(),
                line,
                column,
            },
            message: match locate::key_at(text, line, column) {
                Some(key) => format!("{key}: {message}"),
                None => message,
            },
        }
    })?;
    Ok(document.unwrap_or_default())
}

#[cfg(test)]
mod tests;
