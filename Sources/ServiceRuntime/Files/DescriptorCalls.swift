#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Calls of the C library whose plain names are hidden by methods of the types that use them.
enum DescriptorCalls {
    /// `read(2)`.
    static func read(_ descriptor: CInt, _ storage: UnsafeMutableRawBufferPointer) -> Int {
        #if canImport(Glibc)
            Glibc.read(descriptor, storage.baseAddress, storage.count)
        #else
            Darwin.read(descriptor, storage.baseAddress, storage.count)
        #endif
    }

    /// `write(2)`.
    static func write(_ descriptor: CInt, _ storage: UnsafeRawBufferPointer) -> Int {
        #if canImport(Glibc)
            Glibc.write(descriptor, storage.baseAddress, storage.count)
        #else
            Darwin.write(descriptor, storage.baseAddress, storage.count)
        #endif
    }

    /// `open(2)` for appending, making the file when it is missing.
    static func openForAppending(_ path: String, mode: UInt32) -> CInt {
        open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, mode_t(mode))
    }
}
