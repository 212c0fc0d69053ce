//! What is done to the answers of a route before they leave.
//!
//! ```text
//! a file sent instead → an error's document instead → fields added → text compressed
//! ```

mod documents;
mod send_files;

use crate::{Body, FieldBlock, Head, Response, compress, error::Fault};

pub use documents::{ErrorDocument, ErrorDocuments};
pub use send_files::SendFiles;

/// What is done to the answers of a route before they leave.
#[derive(Debug, Default)]
pub struct Finish {
    /// Whether texts are compressed for clients that can read it.
    pub compresses: bool,
    pub fields: ExtraFields,
    /// What is shown instead of errors.
    pub documents: Option<ErrorDocuments>,
    /// Which files an answer may have sent instead of it.
    pub files: Option<SendFiles>,
}

/// Fields that every answer has, unless it says something else by that name itself. One without a
/// value is taken out of every answer.
#[derive(Clone, Debug, Default)]
pub struct ExtraFields(pub Vec<(String, String)>);

impl ExtraFields {
    pub(crate) fn apply(&self, fields: &mut FieldBlock) {
        for (name, value) in &self.0 {
            if value.is_empty() {
                fields.retain(|known, _| !known.eq_ignore_ascii_case(name.as_bytes()));
            } else if !fields.contains(name) {
                fields.push(name, value);
            }
        }
    }
}

impl Finish {
    /// Whether errors are changed too, for which somebody may have to be asked.
    pub(crate) fn is_for_errors(&self) -> bool {
        self.documents.is_some() || !self.fields.0.is_empty()
    }

    /// All but the documents of errors.
    ///
    /// # Errors
    /// When an answer names a file that may not be sent, or is not there.
    pub(crate) fn apply(&self, answer: Response, head: &Head) -> Result<Response, Fault> {
        let mut answer = self.send_file(answer, head)?;
        self.polish(&mut answer, head);
        Ok(answer)
    }

    /// The file that an answer names, instead of it.
    pub(crate) fn send_file(&self, answer: Response, head: &Head) -> Result<Response, Fault> {
        match &self.files {
            Some(files) => files.answer(answer, head),
            None => Ok(answer),
        }
    }

    /// What is done at last.
    pub(crate) fn polish(&self, answer: &mut Response, head: &Head) {
        if matches!(answer.body, Body::Tunnel(_)) {
            return;
        }
        self.fields.apply(&mut answer.fields);
        if self.compresses {
            compress::apply(answer, head);
        }
    }
}
