//! Many patches at once.

use futures::{StreamExt, stream};

use super::{Applier, Decided, Written};
use crate::{Cache, Class, Error, Key, View};

/// Enough to keep an API server busy that takes 30 ms for one, and no more than it gives one client at once.
const WRITES_IN_FLIGHT: usize = 16;

/// How each of many writes ended, in the order in which they were asked for.
#[derive(Debug)]
pub struct Outcomes(Vec<(Key, Result<Written, Error>)>);

impl Applier {
    /// Sends many patches, several at once. Each is tried, whatever becomes of the others. Each is made when its turn
    /// comes: of thousands only few are there at a time.
    pub async fn patch_all<V: View>(
        &self,
        cache: &Cache<V>,
        decided: impl IntoIterator<Item = Decided<V::Object>>,
    ) -> Outcomes {
        let writes = decided.into_iter().map(|decided| async {
            let key = decided.key.clone();
            (key, self.patch(cache, decided).await)
        });
        Outcomes(stream::iter(writes).buffered(WRITES_IN_FLIGHT).collect().await)
    }
}

impl Outcomes {
    /// The objects that have been written.
    pub fn done(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(|(_, result)| matches!(result, Ok(Written::Done))).map(|(key, _)| key)
    }

    /// Takes out those that an admission plugin has refused: a trouble of these objects, not of the others.
    pub fn take_denied(&mut self) -> Vec<(Key, Error)> {
        let is_denied = |outcome: &mut (Key, Result<Written, Error>)| {
            outcome.1.as_ref().is_err_and(|error| error.class() == Class::Denied)
        };
        let denied = self.0.extract_if(.., is_denied);
        denied.filter_map(|(key, result)| Some((key, result.err()?))).collect()
    }

    /// Of the errors that are left, the one that wants the earliest try: so none waits longer than it would alone.
    pub fn all_done(self) -> Result<(), Error> {
        let errors = self.0.into_iter().filter_map(|(_, result)| result.err());
        let worst = errors.reduce(|worst, error| if error.class() > worst.class() { error } else { worst });
        worst.map_or(Ok(()), Err)
    }
}
