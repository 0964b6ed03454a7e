fn main() {
    let f = std::env::args().nth(1).unwrap_or_default();
    bpfassay_prove::report::run(&f, &|l| {
        println!(
            "{:50} {:3} {:?} {:.2}s paths {} {}",
            l.name,
            l.width,
            l.result,
            l.seconds,
            l.paths,
            l.reason.clone().unwrap_or_default()
        )
    });
}
