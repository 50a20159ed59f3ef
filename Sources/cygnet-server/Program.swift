import Foundation
import ServerProgram
import ServiceRuntime

/// The control plane of one trust domain. Started as `spire-server` it is the same program, started as
/// `oidc-discovery-provider` it is that one.
@main
enum Program {
    static func main() async {
        let arguments = CommandLine.arguments
        let name = arguments.first.map { ($0 as NSString).lastPathComponent } ?? "cygnet-server"
        let code = await ServerCommandLine.main(
            arguments: Array(arguments.dropFirst()), program: name, run: ServerDaemon.run,
            validate: ServerDaemon.validate)
        exit(code)
    }
}
