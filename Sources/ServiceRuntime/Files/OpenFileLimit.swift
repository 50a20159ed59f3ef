#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// How many descriptors the process may have open.
package enum OpenFileLimit {
    /// Raises the soft limit to the hard one: a connection to the Workload API needs two descriptors, and the
    /// usual soft limit of 1,024 would end at 500 workloads. Does nothing when it cannot.
    package static func raise() {
        var limit = rlimit()
        #if os(Linux)
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
            let resource = RLIMIT_NOFILE
        #endif
        guard getrlimit(resource, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(resource, &limit)
    }
}
