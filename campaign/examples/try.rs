use bpfassay_campaign::engine::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let o = Options {
        kernel: "6.18".into(),
        seed: a[1].parse().unwrap(),
        oracles: a[3].split(',').filter(|s| !s.is_empty()).map(String::from).collect(),
        engines: ["interp", "interp-unchecked", "jit"].map(String::from).into(),
        time: None,
        programs: Some(a[2].parse().unwrap()),
        jobs: 1,
        shard: (0, 1),
        folder: a.get(4).map(Into::into),
        corpus: vec![],
    };
    let r = run(&o, vec![], &|_| {}).unwrap();
    println!("{}", serde_json::to_string_pretty(&r).unwrap());
    eprintln!("{} /s", r.programs as f64 / r.seconds);
}
