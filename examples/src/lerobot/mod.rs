//! Demonstrations for LeRobot, and policies trained by it.
//!
//! A dataset is a folder in the LeRobotDataset format, version 3.0:
//!
//! | file | content |
//! |---|---|
//! | `meta/info.json` | rate, counts, and dtype and shape of every feature |
//! | `meta/stats.json` | statistics of every feature, with which a trainer normalises |
//! | `meta/tasks.parquet` | the instructions |
//! | `meta/episodes/chunk-000/file-000.parquet` | where each episode lies |
//! | `data/chunk-000/file-000.parquet`, … | one row per frame, one row group per episode |
//!
//! Images are PNG files inside the data; there is no video.

pub mod columns;
pub mod dataset;
pub mod outside;
pub mod record;
pub mod statistics;
pub mod verify;
