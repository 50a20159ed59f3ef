// swift-tools-version:6.2
import PackageDescription

/// The two protoc plugins that write the generated code; see dev/gen-protos.
///
/// A package of its own, so that the main one never builds or imports a code generator. Versions
/// are exact and the same as in the main package: another version may write other code. No target
/// uses grpc-swift-2 (SwiftPM says so), but its code generator is inside protoc-gen-grpc-swift-2.
let package = Package(
    name: "protoc-plugins",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-protobuf.git", exact: "1.39.0"),
        .package(url: "https://github.com/grpc/grpc-swift-2.git", exact: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf.git", exact: "2.4.1"),
    ]
)
