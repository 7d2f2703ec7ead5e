//! Pictures that come in: received within bounds, decoded and encoded anew in processes of their own.

pub mod decode;
pub mod decoder;
mod headers;
pub mod intake;
mod pool;
mod shrink;
pub mod ticket;

use std::{path::PathBuf, time::Instant};

use domain::Problem;
use engine::{
    metrics::{observe, seconds},
    pictures::Encoded,
};
use prometheus_client::{metrics::histogram::Histogram, registry::Registry};

use crate::http::render::QueueKey;

pub use intake::{Incoming, IntakeFolder};

use decoder::Decoder;
use pool::Pool;

/// The bounds of uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// The maximum size of a file, in bytes.
    pub max_bytes: u64,
    /// The maximum number of pixels of a picture.
    pub max_pixels: u64,
}

/// Takes pictures in: the limits, the folder of unfinished uploads, and the processes that decode.
pub struct Workshop {
    limits: UploadLimits,
    folder: IntakeFolder,
    pool: Pool,
    decoder: Decoder,
    durations: Histogram,
}

impl Workshop {
    /// Creates a workshop that keeps unfinished uploads in a folder. `program` is that of Qchat, which is executed again to
    /// decode a picture.
    pub fn new(limits: UploadLimits, folder: IntakeFolder, program: PathBuf) -> Self {
        let decoder = Decoder::new(program, limits.max_pixels);
        Self { limits, folder, pool: Pool::new(), decoder, durations: seconds() }
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
    /// taken; [`Problem::Busy`] if too many wait, or it cannot be decoded now.
    pub async fn prepare(
        &self,
        queue: QueueKey,
        Incoming { file, .. }: Incoming,
    ) -> Result<Encoded, Problem> {
        let work = async {
            let began = Instant::now();
            let encoded = self.decoder.decode(file).await?;
            observe(&self.durations, began.elapsed());
            Ok(encoded)
        };
        self.pool.run(queue, work).await
    }
}
