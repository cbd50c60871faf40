mod quiet;
mod random;
mod streams;
use bellwether::stats::detector::Settings;
use streams::*;
pub fn parallel<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let mut own = Vec::new();
                    loop {
                        let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if index >= count {
                            return own;
                        }
                        own.push((index, work(index)));
                    }
                })
            })
            .collect();
        handles.into_iter().flat_map(|h| h.join().expect("work does not panic")).collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let days: usize = args[1].parse().unwrap();
    let seed: u64 = args[2].parse().unwrap();
    let only = args.get(3).filter(|a| *a != "--bench").cloned().unwrap_or_default();
    let settings = Settings::default();
    let day = Calm { name: "day effects 0.05", day: 0.05, ..Calm::IID };
    let cases = [
        ("iid1000", Calm::IID, 1000, 28, thirty_features()),
        ("iid100", Calm::IID, 100, 28, thirty_features()),
        ("day1000", day, 1000, 28, thirty_features()),
        ("day300", day, 300, 28, thirty_features()),
        ("week56", Calm { weekend: 0.3, ..day }, 1000, 56, thirty_features()),
        ("ar6", Calm { wandering: 0.6, ..day }, 1000, 28, thirty_features()),
    ];
    for (name, calm, rows, reference_days, features) in cases {
        if !name.contains(&only) { continue; }
        let start = std::time::Instant::now();
        let case = quiet::Case { calm, rows, features, reference_days };
        let t = quiet::measure(&case, &settings, days, seed);
        println!("{name}: {:.2} per 1000 {:?} days {} at {:?} causes {:?} {:.1}s", t.per_thousand(), t.interval(), t.days, t.at_times_alpha, t.causes, start.elapsed().as_secs_f64());
    }
}
