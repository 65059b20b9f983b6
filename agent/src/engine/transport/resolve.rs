//! A host's name to its addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};

/// For so long what was found counts: many streams are opened at once.
const FRESH: Duration = Duration::from_secs(5);

/// Where the engine is, by its name or its address.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    port: u16,
    asked: Mutex<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    /// `getaddrinfo` blocks, for as long as it likes. So it runs in another thread, and in one only: who gives up waiting
    /// leaves the lookup here for the next one, who waits on for the same.
    lookup: Option<JoinHandle<Answer>>,
    found: Option<(Instant, Arc<[SocketAddr]>)>,
}

/// When it came: one that nobody waited for any more may be old.
type Answer = (Instant, io::Result<Vec<SocketAddr>>);

impl Host {
    pub(super) fn new(name: String, port: u16) -> Self {
        Self {
            name,
            port,
            asked: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// As an URL has it.
    pub(super) fn authority(&self) -> String {
        match self.name.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.name, self.port),
        }
    }

    /// At least one.
    pub(super) async fn addresses(&self) -> io::Result<Arc<[SocketAddr]>> {
        if let Ok(address) = self.name.parse::<IpAddr>() {
            return Ok([SocketAddr::new(address, self.port)].into());
        }
        let mut asked = self.asked.lock().await;
        if let Some((at, found)) = &asked.found
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(found));
        }
        let (at, found) = loop {
            let lookup = asked.lookup.get_or_insert_with(|| self.look_up());
            let answer = lookup.await;
            asked.lookup = None;
            let (at, found) = answer.map_err(io::Error::other)?;
            if at.elapsed() < FRESH {
                break (at, found);
            }
        };
        let found: Arc<[SocketAddr]> = found?.into();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        asked.found = Some((at, Arc::clone(&found)));
        Ok(found)
    }

    fn look_up(&self) -> JoinHandle<Answer> {
        let host = (self.name.clone(), self.port);
        spawn_blocking(move || {
            let found = host.to_socket_addrs().map(Iterator::collect);
            (Instant::now(), found)
        })
    }

    /// Waits until no lookup is under way.
    pub(super) async fn at_rest(&self) {
        if let Some(lookup) = self.asked.lock().await.lookup.take() {
            let _ = lookup.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_are_not_looked_up_and_names_are() {
        for (name, authority) in [("10.0.0.7", "10.0.0.7:2375"), ("fd00::7", "[fd00::7]:2375")] {
            let host = Host::new(name.to_owned(), 2375);
            assert_eq!(host.authority(), authority);
            let addresses = host.addresses().await.unwrap();
            assert_eq!(addresses[..], [authority.parse().unwrap()]);
            assert!(host.asked.lock().await.found.is_none());
        }
        let host = Host::new("localhost".to_owned(), 2375);
        assert_eq!(host.authority(), "localhost:2375");
        let addresses = host.addresses().await.unwrap();
        assert!(addresses.iter().all(|at| at.ip().is_loopback() && at.port() == 2375));
        assert!(!addresses.is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_lookup_to_the_next() {
        let host = Host::new("localhost".to_owned(), 1);
        let (answer, answers) = std::sync::mpsc::channel();
        let lookup = spawn_blocking(move || answers.recv().unwrap());
        host.asked.lock().await.lookup = Some(lookup);
        {
            let mut first = std::pin::pin!(host.addresses());
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(first.as_mut().poll(&mut cx).is_pending());
        }
        assert!(host.asked.lock().await.lookup.is_some());
        let elsewhere = SocketAddr::new(IpAddr::from([10, 0, 0, 7]), 1);
        answer.send((Instant::now(), Ok(vec![elsewhere]))).unwrap();
        assert_eq!(host.addresses().await.unwrap()[..], [elsewhere]);
        assert!(host.asked.lock().await.lookup.is_none());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_waited_for_is_not_taken_for_todays() {
        let host = Host::new("localhost".to_owned(), 1);
        let old = Instant::now().checked_sub(FRESH).unwrap();
        let failed = Err(io::Error::other("the name server was away"));
        host.asked.lock().await.lookup = Some(spawn_blocking(move || (old, failed)));
        assert!(!host.addresses().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn at_rest_is_when_no_lookup_is_under_way() {
        let host = Host::new("localhost".to_owned(), 1);
        let (answer, answers) = std::sync::mpsc::channel();
        host.asked.lock().await.lookup = Some(spawn_blocking(move || answers.recv().unwrap()));
        let mut rest = std::pin::pin!(host.at_rest());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(rest.as_mut().poll(&mut cx).is_pending());
        answer.send((Instant::now(), Ok(Vec::new()))).unwrap();
        rest.await;
    }
}
