//! Work that takes CPU or waits for the disk: on threads that may block, a bounded number at once, given up when
//! nobody waits for it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Semaphore;
use tonic::Status;

use crate::grpc::stack::{overloaded, panic_message};

/// One kind of work and its bounds. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Workers {
    name: &'static str,
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

impl Workers {
    /// `at_once` jobs run, `waiting_max` wait for their turn; more are refused.
    pub(crate) fn new(name: &'static str, at_once: usize, waiting_max: usize) -> Self {
        let permits = Arc::new(Semaphore::new(at_once.max(1)));
        Self { name, permits, waiting: Arc::default(), waiting_max }
    }

    /// Runs `job` on a thread that may block. The job's flag is set when the caller goes away; a job that heeds it
    /// ends soon after.
    ///
    /// Cancel safe: a job that has begun goes on until it sees its flag.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Option<Instant>,
        job: impl FnOnce(Arc<AtomicBool>) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = self.place()?;
                let turn = self.permits.clone().acquire_owned();
                let permit = match deadline {
                    None => turn.await,
                    Some(deadline) => tokio::time::timeout_at(deadline.into(), turn)
                        .await
                        .map_err(|_| Status::deadline_exceeded(format!("no {} worker was free in time", self.name)))?,
                };
                permit.map_err(|_| Status::unavailable("the server is stopping"))?
            }
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        let guard = CancelOnDrop(cancelled.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            job(cancelled)
        });
        let result = done.await;
        drop(guard);
        result.map_err(|error| match error.try_into_panic() {
            Ok(panic) => Status::internal(format!("the handler panicked: {}", panic_message(&*panic))),
            Err(_) => Status::unavailable("the server is stopping"),
        })
    }

    fn place(&self) -> Result<Place<'_>, Status> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(&self.waiting);
        if before >= self.waiting_max {
            return Err(overloaded(format!("{} {} calls wait for a worker already", self.waiting_max, self.name)));
        }
        Ok(place)
    }
}

/// A place in the queue, given up on drop.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_job_learns_that_its_caller_went_away() {
        let workers = Workers::new("test", 1, 1);
        let (report, reported) = tokio::sync::oneshot::channel();
        let job = workers.run(None, move |cancelled| {
            let until = Instant::now() + Duration::from_secs(10);
            while !cancelled.load(Ordering::Relaxed) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = report.send(cancelled.load(Ordering::Relaxed));
        });
        let gone = tokio::time::timeout(Duration::from_millis(20), job).await;
        assert!(gone.is_err(), "the caller gave up");
        assert!(reported.await.expect("the job ended"));
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_is_refused_and_who_waits_too_long_times_out() {
        let workers = Workers::new("test", 1, 1);
        let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
        let busy = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(None, move |_| released.recv()).await.map(drop) }
        });
        while workers.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waiting = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(Some(Instant::now() + Duration::from_millis(300)), |_| ()).await }
        });
        while workers.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let refused = workers.run(None, |_| ()).await.expect_err("the queue is full");
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        let late = waiting.await.expect("no panic").expect_err("nobody was free");
        assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
        drop(release);
        busy.await.expect("no panic").expect("the job ran");
        assert_eq!(workers.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_panic_of_a_job_is_an_error_of_its_call_only() {
        let workers = Workers::new("test", 1, 1);
        let status = workers.run(None, |_| -> () { panic!("boom") }).await.expect_err("it panicked");
        assert_eq!((status.code(), status.message()), (tonic::Code::Internal, "the handler panicked: boom"));
        assert_eq!(workers.run(None, |_| 5).await.expect("the next runs"), 5);
    }
}
