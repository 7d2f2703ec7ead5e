//! Pictures that come in: received within bounds, decoded and encoded anew on threads of their own.

pub mod decode;
mod headers;
pub mod intake;
mod pool;
mod shrink;
pub mod ticket;

use std::{
    fs::File,
    io::{self, Read, Seek},
    time::Instant,
};

use domain::Problem;
use engine::{
    metrics::{observe, seconds},
    pictures::Encoded,
};
use prometheus_client::{metrics::histogram::Histogram, registry::Registry};

use crate::http::render::QueueKey;

pub use intake::{Incoming, IntakeFolder};
use pool::Pool;

/// The bounds of uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// The maximum size of a file, in bytes.
    pub max_bytes: u64,
    /// The maximum number of pixels of a picture.
    pub max_pixels: u64,
}

/// Takes pictures in: the limits, the folder of unfinished uploads, and the threads that decode.
pub struct Workshop {
    limits: UploadLimits,
    folder: IntakeFolder,
    pool: Pool,
    durations: Histogram,
}

impl Workshop {
    /// Creates a workshop that keeps unfinished uploads in a folder.
    pub fn new(limits: UploadLimits, folder: IntakeFolder) -> Self {
        Self { limits, folder, pool: Pool::new(), durations: seconds() }
    }

    /// Adds what is measured to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        registry.register(
            "qchat_picture_seconds",
            "Time to decode, shrink and encode a picture, without waiting for a turn",
            self.durations.clone(),
        );
    }

    /// Returns the bounds of uploads.
    pub fn limits(&self) -> UploadLimits {
        self.limits
    }

    /// Returns the folder of unfinished uploads.
    pub fn folder(&self) -> &IntakeFolder {
        &self.folder
    }

    /// Makes a picture of a file, once it is its turn.
    ///
    /// # Errors
    /// [`Problem::NotAPicture`], [`Problem::PictureDamaged`] or [`Problem::PictureTooManyPixels`] if it is none that is
    /// taken; [`Problem::Busy`] if too many wait; [`Problem::NotStored`] if the file cannot be read.
    pub async fn prepare(
        &self,
        queue: QueueKey,
        Incoming { file, .. }: Incoming,
    ) -> Result<Encoded, Problem> {
        let (max_pixels, durations) = (self.limits.max_pixels, self.durations.clone());
        let work = move || {
            let began = Instant::now();
            let bytes = read(file).map_err(|error| {
                tracing::error!(%error, "an upload could not be read");
                Problem::NotStored
            })?;
            let prepared = decode::prepare(&bytes, max_pixels)?;
            observe(&durations, began.elapsed());
            Ok(prepared)
        };
        self.pool.run(queue, work).await?
    }
}

fn read(mut file: File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
