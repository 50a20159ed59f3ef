import Crypto

extension LiveSVIDs {
    /// What stands for a `jti` in the table.
    static func digest(_ jti: String) -> Bytes16 {
        Bytes16(SHA256.hash(data: Array(jti.utf8)).map { $0 })
    }
}
