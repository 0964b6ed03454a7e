//! Every map definition of `corpus/maps`, against what kernels answered through libbpf.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bpfassay_judge::{MapReport, MapVerdict, Options, Target};
use bpfassay_spec::{errno, Kernel};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/maps")
}

/// Object and map to the answer, `ok` or the name of an errno.
type Answers = BTreeMap<(String, String), String>;

fn recorded(release: &str) -> Answers {
    let text = fs::read_to_string(folder().join(format!("answers/{release}.txt"))).unwrap();
    let rows = text.lines().filter(|l| !l.starts_with('#'));
    rows.map(|row| {
        let words: Vec<&str> = row.split(' ').collect();
        let [object, map, answer] = words[..] else { panic!("{row}") };
        ((object.to_string(), map.to_string()), answer.to_string())
    })
    .collect()
}

fn judged(object: &str, target: &Target) -> Vec<MapReport> {
    let bytes = fs::read(folder().join("objects").join(object)).unwrap();
    let linked = target.load_with(&bytes, object, &Options::default()).unwrap();
    linked.maps
}

fn answer(map: &MapReport) -> String {
    match map.verdict {
        MapVerdict::Accepted => "ok".to_string(),
        MapVerdict::Unsupported => "unsupported".to_string(),
        MapVerdict::Rejected | MapVerdict::Unset => errno::name(map.errno.unwrap()).into_owned(),
    }
}

/// As [`answer`], in a load of the whole object: programs that do not go together fail there.
fn whole(map: &MapReport) -> String {
    match (map.verdict, map.code) {
        (MapVerdict::Accepted, Some("map-slot")) => "EINVAL".to_string(),
        _ => answer(map),
    }
}

/// Compares one release and returns how many were impossible and how many were made.
fn compare(release: &str, target: &Target) -> (usize, usize) {
    let truth = recorded(release);
    let mut wrong = Vec::new();
    let mut cache: BTreeMap<String, Vec<MapReport>> = BTreeMap::new();
    for ((object, map), want) in &truth {
        let maps = cache.entry(object.clone()).or_insert_with(|| judged(object, target));
        let got = match map.as_str() {
            // The first that is refused, in the order in which libbpf makes them; programs are all fine.
            "*" => maps.iter().map(whole).find(|a| a != "ok").unwrap_or("ok".to_string()),
            name => {
                let found = maps.iter().find(|m| m.name == name || kernel_name(object, m) == name);
                found.map_or("no such map".to_string(), answer)
            }
        };
        if got != *want {
            wrong.push(format!("{object} {map}: {got}, the kernel says {want}"));
        }
    }
    assert!(wrong.is_empty(), "{release}:\n{}", wrong.join("\n"));
    let made = truth.values().filter(|a| *a == "ok").count();
    (truth.len() - made, made)
}

/// What libbpf calls the map of a section.
fn kernel_name(object: &str, map: &MapReport) -> String {
    let stem = object.split('.').next().unwrap_or(object);
    format!("{}{}", &stem[..stem.len().min(8)], map.name)
}

#[test]
fn served_kernels_make_the_maps_that_we_say() {
    for release in ["6.18.44", "6.18.15"] {
        let target = Target::served(release).unwrap().unwrap();
        let (impossible, made) = compare(release, &target);
        assert!(impossible >= 90 && made >= 100, "{release}: {impossible} {made}");
    }
}

#[test]
fn rules_of_other_lines_are_their_own() {
    for release in ["6.12.118", "7.3.4"] {
        let mut target = Target::served("6.18.15").unwrap().unwrap();
        let served = &target.kernel;
        let mut kernel = Kernel::of_release(release, "x86_64", served.config.clone()).unwrap();
        kernel.nr_cpus = served.nr_cpus;
        target.kernel = kernel;
        compare(release, &target);
    }
}
