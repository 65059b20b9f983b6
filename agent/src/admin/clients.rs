//! The clients that the server has now, and which of them makes room for another one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;

/// The number of a client's last request, in the order of all requests; 0 if it has asked nothing yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(Arc<AtomicU64>);

/// In the order of their coming.
#[derive(Debug, Default)]
pub(super) struct Clients {
    all: Vec<(Asked, AbortHandle)>,
    requests: Requests,
}

/// How many requests there were.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests(Arc<Mutex<u64>>);

impl Requests {
    /// A client has asked something.
    pub(super) fn count(&self, client: &Asked) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *requests += 1;
        client.0.store(*requests, Ordering::Relaxed);
    }
}

impl Clients {
    pub(super) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    pub(super) fn add(&mut self, asked: Asked, client: AbortHandle) {
        self.all.push((asked, client));
    }

    /// Closes as many as are beyond the limit: first those that have asked nothing, then those that have asked nothing for
    /// longest; of equals, the one that came first.
    pub(super) fn make_room(&mut self, limit: usize) {
        self.all.retain(|(_, client)| !client.is_finished());
        while self.all.len() > limit {
            let last_asked = |(asked, _): &(Asked, AbortHandle)| asked.0.load(Ordering::Relaxed);
            let Some(oldest) = (0..self.all.len()).min_by_key(|&at| last_asked(&self.all[at])) else {
                return;
            };
            self.all.remove(oldest).1.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_that_ask_nothing_make_room_first() {
        let mut clients = Clients::default();
        let mut handles = Vec::new();
        let all: Vec<_> = (0..5)
            .map(|_| {
                let task = tokio::spawn(std::future::pending::<()>());
                let asked = Asked::default();
                clients.add(asked.clone(), task.abort_handle());
                handles.push(task);
                asked
            })
            .collect();
        // In this order: 3, 0, 1, and 3 once more. 2 and 4 have asked nothing.
        for at in [3, 0, 1, 3] {
            clients.requests().count(&all[at]);
        }
        let mut closed = Vec::new();
        for limit in (1..5).rev() {
            clients.make_room(limit);
            tokio::task::yield_now().await;
            let gone = handles.iter().map(tokio::task::JoinHandle::is_finished).enumerate();
            let gone: Vec<_> = gone.filter(|(at, gone)| *gone && !closed.contains(at)).collect();
            assert_eq!(gone.len(), 1, "{limit}");
            closed.push(gone[0].0);
        }
        assert_eq!(closed, [2, 4, 0, 1]);
    }
}
