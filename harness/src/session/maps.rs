//! Maps filled before and shown after a run.

use bpfassay_object::btf::Type;
use bpfassay_object::model::{MapDef, Program};
use bpfassay_object::Slot;
use bpfassay_spec::errno::name as errno_name;
use bpfassay_spec::MapType;
use serde_json::{json, Value};

use super::values;
use crate::runtime::maps::{Map, ANY};
use crate::runtime::Runtime;
use crate::testrun::MapSlots;

/// An element as the person wrote it, with the index of its map.
#[derive(Clone, PartialEq, Debug)]
pub struct Preload {
    pub map: usize,
    /// None for queues and stacks.
    pub key: Option<Value>,
    pub value: Value,
}

/// Indices of the maps that instructions name; others are not created in the kernel.
pub fn used(program: &Program) -> Vec<usize> {
    let maps = program.insns.iter().filter(|i| i.is_ld_imm64() && matches!(i.src, 1 | 2));
    let mut all: Vec<usize> = maps.filter_map(|i| usize::try_from(i.imm).ok()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Moves the elements whose values name maps or programs into the slots of their maps.
///
/// `programs` are the names of the object's.
pub fn take_slots(
    program: &Program,
    programs: &[&str],
    preload: &mut Vec<Preload>,
    slots: &mut Vec<MapSlots>,
) -> Result<(), String> {
    let mut rest = Vec::new();
    for p in std::mem::take(preload) {
        let Some(def) = program.maps.get(p.map) else { continue };
        let wrong = |what: &str| format!("map {}: {what}", def.source_name);
        let is_program = def.map_type == MapType::ProgArray;
        if !is_program && !matches!(def.map_type, MapType::ArrayOfMaps | MapType::HashOfMaps) {
            rest.push(p);
            continue;
        }
        let key = p.key.as_ref().and_then(Value::as_u64).and_then(|k| u32::try_from(k).ok());
        let key = key.ok_or_else(|| wrong("its keys are numbers"))?;
        let name = p.value.as_str().ok_or_else(|| wrong("its values are names"))?;
        let slot = if is_program {
            let known = programs.contains(&name);
            Slot::Program(
                known
                    .then(|| name.to_string())
                    .ok_or_else(|| wrong(&format!("no program `{name}`")))?,
            )
        } else {
            let inner = program.maps.iter().position(|m| m.source_name == name);
            Slot::Map(inner.ok_or_else(|| wrong(&format!("no map `{name}`")))?)
        };
        slots.resize(slots.len().max(program.maps.len()), Vec::new());
        if let Some(of_map) = slots.get_mut(p.map) {
            of_map.retain(|(k, _)| *k != key);
            of_map.push((key, slot));
        }
    }
    *preload = rest;
    Ok(())
}

/// Reads a file of `--map NAME=FILE`: a list of objects with `key` and `value`.
pub fn parse(program: &Program, name: &str, text: &str) -> Result<Vec<Preload>, String> {
    let map = program.maps.iter().position(|m| m.source_name == name || m.name == name);
    let Some(map) = map else {
        let known: Vec<&str> = program.maps.iter().map(|m| m.source_name.as_str()).collect();
        return Err(format!("no map `{name}`; there are: {}", known.join(", ")));
    };
    let list: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let Value::Array(list) = list else { return Err("not a list of elements".to_string()) };
    let element = |(i, v): (usize, &Value)| {
        let members = v.as_object().ok_or(format!("[{i}]: not an object"))?;
        if let Some(other) = members.keys().find(|k| !["key", "value"].contains(&k.as_str())) {
            return Err(format!("[{i}]: `{other}` is neither key nor value"));
        }
        let value = members.get("value").cloned().ok_or(format!("[{i}]: no value"))?;
        Ok(Preload { map, key: members.get("key").cloned(), value })
    };
    list.iter().enumerate().map(element).collect()
}

fn types<'p>(program: &'p Program, def: &MapDef) -> (Option<Type<'p>>, Option<Type<'p>>) {
    let ty = |id: u32| program.btf.as_deref()?.ty(id).filter(|_| id != 0);
    (ty(def.btf_key_type_id), ty(def.btf_value_type_id))
}

/// Key and value bytes of an element; `old` gives what a key holds now.
pub fn element(
    program: &Program,
    p: &Preload,
    old: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Result<(Option<Vec<u8>>, Vec<u8>), String> {
    let def = program.maps.get(p.map).ok_or("no such map")?;
    let at = |e: String| format!("map {}: {e}", def.source_name);
    if def.frozen {
        return Err(at("read-only data is part of the program".to_string()));
    }
    let has_key = !def.map_type.uses().keyless;
    let (key_type, value_type) = types(program, def);
    let key = match (&p.key, has_key) {
        (Some(k), true) => {
            let mut key = vec![0; def.key_size as usize];
            values::write(&mut key, k, key_type).map_err(|e| at(format!("key: {e}")))?;
            Some(key)
        }
        (None, false) => None,
        (Some(_), false) => return Err(at("this map has no keys".to_string())),
        (None, true) => return Err(at("an element without a key".to_string())),
    };
    let size = def.value_size as usize;
    let mut value = key.as_deref().and_then(old).filter(|v| v.len() == size);
    let value = value.get_or_insert_with(|| vec![0; size]);
    values::write(value, &p.value, value_type).map_err(|e| at(format!("value: {e}")))?;
    Ok((key, std::mem::take(value)))
}

/// Puts the elements into the runtime's maps.
pub fn fill(rt: &mut Runtime, program: &Program, preload: &[Preload]) -> Result<(), String> {
    for p in preload {
        let cpu = rt.world.cpu;
        let held = |rt: &Runtime, key: &[u8]| {
            let map = rt.maps.get(p.map)?;
            let (_, at) = map.entries(&rt.mem, cpu).into_iter().find(|(k, _)| k == key)?;
            rt.mem.slice(at, map.shape().value_size).ok().map(<[u8]>::to_vec)
        };
        // Whole values need no look at the old ones.
        let is_partial = matches!(p.value, Value::Object(_) | Value::Array(_));
        let (key, value) = element(program, p, |k| is_partial.then(|| held(rt, k)).flatten())?;
        let name = program.maps.get(p.map).map_or("", |m| &m.source_name);
        let Some(map) = rt.maps.get_mut(p.map) else { continue };
        let done = match key {
            Some(key) => map.update(&mut rt.mem, &key, &value, ANY, cpu),
            None => map.push(&value, ANY),
        };
        match done {
            Ok(0) => {}
            Ok(errno) => {
                return Err(format!("map {name}: refused with {}", errno_name(-errno as i32)))
            }
            Err(_) => return Err(format!("map {name}: this kind cannot be filled")),
        }
    }
    Ok(())
}

/// What the maps hold, pretty-printed through their types.
pub fn dump(rt: &Runtime, program: &Program) -> Value {
    let one = |(map, def): (&Map, &MapDef)| {
        let shape = map.shape();
        let (key_type, value_type) = types(program, def);
        let value_at = |at: u64| {
            // As the kernel does: locks, timers, links and kernel pointers read as zero.
            let mut shown = vec![0; shape.value_size as usize];
            shape.copy_value(&mut shown, rt.mem.slice(at, shape.value_size).unwrap_or_default());
            values::show(&shown, value_type)
        };
        let per_cpu: Vec<Vec<(Vec<u8>, u64)>> =
            (0..rt.world.cpus).map(|cpu| map.entries(&rt.mem, cpu)).collect();
        let is_per_cpu = rt.world.cpus > 1 && def.map_type.name().contains("percpu");
        let first = per_cpu.first().cloned().unwrap_or_default();
        let mut elements: Vec<Value> = first
            .into_iter()
            .enumerate()
            .map(|(i, (key, at))| {
                let key = values::show(&key, key_type);
                if !is_per_cpu {
                    return json!({"key": key, "value": value_at(at)});
                }
                let all = per_cpu.iter().filter_map(|c| c.get(i)).map(|(_, at)| value_at(*at));
                json!({"key": key, "values": all.collect::<Vec<_>>()})
            })
            .collect();
        elements.extend(map.items().iter().map(|v| json!({"value": values::show(v, value_type)})));
        json!({"name": def.source_name, "type": def.map_type.name(), "elements": elements})
    };
    Value::Array(rt.maps.iter().zip(program.maps.iter()).map(one).collect())
}
