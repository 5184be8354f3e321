//! Prices orders.

use std::hint::black_box;

use super::{Clock, in_slices};

struct Order {
    cents: u64,
    country: u64,
}

pub(super) fn work(clock: &Clock) {
    let mut number = 0;
    in_slices(clock, 0.25, || {
        let careless = clock.minute() % 2 == 1;
        for _ in 0..2_000 {
            number += 1;
            black_box(price_order(number, careless));
        }
    });
}

#[inline(never)]
fn price_order(number: u64, careless: bool) -> u64 {
    let order = load_order(number);
    let tax = if careless { tax_by_reading_the_whole_table(&order) } else { tax_by_country(&order) };
    order.cents + tax + shipping(&order)
}

#[inline(never)]
fn load_order(number: u64) -> Order {
    let mixed = (0..40).fold(number, |seed, round| black_box(seed.wrapping_mul(6_364_136_223_846_793_005) ^ round));
    Order { cents: mixed % 100_000, country: mixed % 200 }
}

#[inline(never)]
fn tax_by_country(order: &Order) -> u64 {
    black_box(order.cents * (5 + order.country % 20) / 100)
}

#[inline(never)]
fn tax_by_reading_the_whole_table(order: &Order) -> u64 {
    let mut tax = 0;
    for country in 0..200 {
        if black_box(country) == order.country {
            tax = black_box(order.cents * (5 + country % 20) / 100);
        }
    }
    tax
}

#[inline(never)]
fn shipping(order: &Order) -> u64 {
    (0..20).fold(order.cents, |sum, step| black_box(sum ^ (sum >> 3) ^ step)) % 1_000
}
