//! ISO base media file boxes.
