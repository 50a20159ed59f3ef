import CLibFuzzer

/// libFuzzer calls the closure with one input after the other; whatever is wrong stops the program. The first
/// byte says which parser reads the rest.
@main
enum Main {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        _ = LLVMFuzzerRunDriver(&count, &arguments) { bytes, count in
            guard count > 0, let bytes else { return 0 }
            let parser = Parser.all[Int(bytes[0]) % Parser.all.count]
            parser.read([UInt8](UnsafeBufferPointer(start: bytes + 1, count: count - 1)))
            return 0
        }
    }
}

/// A parser of bytes from outside, with what must hold for whatever it accepts.
struct Parser: Sendable {
    let read: @Sendable ([UInt8]) -> Void

    /// The numbers are part of the kept inputs: new parsers come last.
    static let all: [Parser] = [
        Parser(read: Names.id), Parser(read: Names.trustDomain), Parser(read: Names.selector),
        Parser(read: Names.address), Parser(read: Certificates.svid),
        Parser(read: Certificates.chain), Parser(read: Certificates.bundle),
        Parser(read: Certificates.publicKey), Parser(read: Documents.json),
        Parser(read: Documents.base64), Parser(read: Documents.bundle),
        Parser(read: Documents.jwks), Parser(read: Documents.bundleMap), Parser(read: Tokens.any),
        Parser(read: Tokens.signed), Parser(read: Proofs.token), Parser(read: Proofs.signedToken),
        Parser(read: Proofs.key), Parser(read: Proofs.request),
        Parser(read: Revocations.certificateList), Parser(read: Revocations.statusList),
    ]
}
