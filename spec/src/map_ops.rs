//! Kernel functions that operations of maps go to (`struct bpf_map_ops` of each type), by the symbol.

use crate::generated::func;
use crate::uapi::MapType;

/// What a call of this helper on a map of this type becomes, 6.18; None where it stays a call of the helper's own
/// function or nobody wrote it down.
pub fn map_op_symbol(map_type: MapType, helper: i32) -> Option<&'static str> {
    use MapType as M;
    Some(match (helper, map_type) {
        (func::MAP_LOOKUP_ELEM, M::Array) => "array_map_lookup_elem",
        (func::MAP_LOOKUP_ELEM, M::PercpuArray) => "percpu_array_map_lookup_elem",
        (func::MAP_LOOKUP_ELEM, M::PercpuHash) => "htab_percpu_map_lookup_elem",
        (func::MAP_LOOKUP_ELEM, M::LruPercpuHash) => "htab_lru_percpu_map_lookup_elem",
        (func::MAP_LOOKUP_ELEM, M::LpmTrie) => "trie_lookup_elem",
        (func::MAP_LOOKUP_ELEM, M::Sockmap) => "sock_map_lookup",
        (func::MAP_LOOKUP_ELEM, M::Sockhash) => "sock_hash_lookup",
        (func::MAP_LOOKUP_ELEM, M::Devmap) => "dev_map_lookup_elem",
        (func::MAP_LOOKUP_ELEM, M::DevmapHash) => "dev_map_hash_lookup_elem",
        (func::MAP_LOOKUP_ELEM, M::Cpumap) => "cpu_map_lookup_elem",
        (func::MAP_LOOKUP_ELEM, M::ReuseportSockarray) => "reuseport_array_lookup_elem",
        (func::MAP_UPDATE_ELEM, M::Sockmap | M::Sockhash) => "sock_map_update_elem",
        (func::MAP_DELETE_ELEM, M::Sockmap) => "sock_map_delete_elem",
        (func::MAP_DELETE_ELEM, M::Sockhash) => "sock_hash_delete_elem",
        (func::MAP_UPDATE_ELEM, M::Array | M::PercpuArray) => "array_map_update_elem",
        (func::MAP_UPDATE_ELEM, M::Hash) => "htab_map_update_elem",
        (func::MAP_UPDATE_ELEM, M::PercpuHash) => "htab_percpu_map_update_elem",
        (func::MAP_UPDATE_ELEM, M::LruHash) => "htab_lru_map_update_elem",
        (func::MAP_UPDATE_ELEM, M::LruPercpuHash) => "htab_lru_percpu_map_update_elem",
        (func::MAP_UPDATE_ELEM, M::LpmTrie) => "trie_update_elem",
        (func::MAP_DELETE_ELEM, M::Array | M::PercpuArray) => "array_map_delete_elem",
        (func::MAP_DELETE_ELEM, M::Hash | M::PercpuHash) => "htab_map_delete_elem",
        (func::MAP_DELETE_ELEM, M::LruHash | M::LruPercpuHash) => "htab_lru_map_delete_elem",
        (func::MAP_DELETE_ELEM, M::LpmTrie) => "trie_delete_elem",
        (func::MAP_PUSH_ELEM, M::Queue | M::Stack) => "queue_stack_map_push_elem",
        (func::MAP_PUSH_ELEM, M::BloomFilter) => "bloom_map_push_elem",
        (func::MAP_POP_ELEM, M::Queue) => "queue_map_pop_elem",
        (func::MAP_POP_ELEM, M::Stack) => "stack_map_pop_elem",
        (func::MAP_PEEK_ELEM, M::Queue) => "queue_map_peek_elem",
        (func::MAP_PEEK_ELEM, M::Stack) => "stack_map_peek_elem",
        (func::MAP_PEEK_ELEM, M::BloomFilter) => "bloom_map_peek_elem",
        (func::REDIRECT_MAP, M::Devmap) => "dev_map_redirect",
        (func::REDIRECT_MAP, M::DevmapHash) => "dev_hash_map_redirect",
        (func::REDIRECT_MAP, M::Cpumap) => "cpu_map_redirect",
        (func::REDIRECT_MAP, M::Xskmap) => "xsk_map_redirect",
        (func::FOR_EACH_MAP_ELEM, M::Array | M::PercpuArray) => "bpf_for_each_array_elem",
        (func::FOR_EACH_MAP_ELEM, M::Hash | M::PercpuHash | M::LruHash | M::LruPercpuHash) => {
            "bpf_for_each_hash_elem"
        }
        (func::MAP_LOOKUP_PERCPU_ELEM, M::PercpuArray) => "percpu_array_map_lookup_percpu_elem",
        (func::MAP_LOOKUP_PERCPU_ELEM, M::PercpuHash) => "htab_percpu_map_lookup_percpu_elem",
        (func::MAP_LOOKUP_PERCPU_ELEM, M::LruPercpuHash) => {
            "htab_lru_percpu_map_lookup_percpu_elem"
        }
        _ => return None,
    })
}

/// Whether calls of this helper go to the map's own functions where the map is known.
pub fn is_map_op(helper: i32) -> bool {
    matches!(
        helper,
        func::MAP_LOOKUP_ELEM
            | func::MAP_UPDATE_ELEM
            | func::MAP_DELETE_ELEM
            | func::MAP_PUSH_ELEM
            | func::MAP_POP_ELEM
            | func::MAP_PEEK_ELEM
            | func::REDIRECT_MAP
            | func::FOR_EACH_MAP_ELEM
            | func::MAP_LOOKUP_PERCPU_ELEM
    )
}

/// Helpers that are given the flags of the allocation they may make (`is_storage_get_function`).
pub fn gets_storage(helper: i32) -> bool {
    matches!(
        helper,
        func::SK_STORAGE_GET
            | func::INODE_STORAGE_GET
            | func::TASK_STORAGE_GET
            | func::CGRP_STORAGE_GET
    )
}
