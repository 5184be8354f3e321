//! Shrinks pictures, in bursts.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use super::Clock;

/// Pixels on a side.
const SIDE: usize = 256;

pub(super) fn work(clock: &Clock) {
    let mut picture = 0;
    while clock.running() {
        for _ in 0..6 {
            picture += 1;
            let pixels = decode_picture(picture);
            let blurred = blur(&pixels);
            black_box(shrink(&blurred));
        }
        // two seconds between bursts, without holding up a stop
        for _ in 0..20 {
            if clock.running() {
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

#[inline(never)]
fn decode_picture(number: u32) -> Vec<u32> {
    let mut seed = number;
    let pixel = |_| {
        seed = black_box(seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        seed >> 24
    };
    (0..SIDE * SIDE).map(pixel).collect()
}

#[inline(never)]
fn blur(pixels: &[u32]) -> Vec<u32> {
    let mut blurred = pixels.to_vec();
    for row in 1..SIDE - 1 {
        for column in 1..SIDE - 1 {
            let at = row * SIDE + column;
            let cross = pixels[at - 1] + pixels[at + 1] + pixels[at - SIDE] + pixels[at + SIDE];
            blurred[at] = black_box((pixels[at] * 4 + cross) / 8);
        }
    }
    blurred
}

#[inline(never)]
fn shrink(pixels: &[u32]) -> Vec<u32> {
    (0..SIDE * SIDE).step_by(16).map(|at| black_box(pixels[at])).collect()
}
